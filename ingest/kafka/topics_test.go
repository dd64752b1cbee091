package kafka_test

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-risk/weir/ingest/kafka"
)

// stale has a broker that heard of no new setting yet: so often, or for ever where times is
// negative, it tells the value that segment.bytes had.
func stale(cluster *kfake.Cluster, times int) {
	cluster.ControlKey(int16(kmsg.DescribeConfigs), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if times == 0 {
			return nil, nil, false
		}
		times--
		resp := r.ResponseKind().(*kmsg.DescribeConfigsResponse)
		value, of := "1048576", kmsg.NewDescribeConfigsResponseResource()
		of.ResourceType, of.ResourceName = kmsg.ConfigResourceTypeTopic, r.(*kmsg.DescribeConfigsRequest).Resources[0].ResourceName
		c := kmsg.NewDescribeConfigsResponseResourceConfig()
		c.Name, c.Value, c.Source = "segment.bytes", &value, kmsg.ConfigSourceDynamicTopicConfig
		of.Configs = append(of.Configs, c)
		resp.Resources = append(resp.Resources, of)
		return resp, nil, true
	})
}

// TestASettingShowsOnceItIsSet has a broker that hears of it late, and one that never does.
func TestASettingShowsOnceItIsSet(t *testing.T) {
	settings := map[string]string{"segment.bytes": "2097152"}
	cluster, f := faulty(t, map[string]string{"segment.bytes": "1048576"})
	stale(cluster, 4)
	if err := f.c.SetTopic(t.Context(), f.topic, settings, false); err != nil {
		t.Fatal(err)
	}
	now, err := f.c.TopicSettings(t.Context(), f.topic)
	if err != nil || now["segment.bytes"].Value != "2097152" {
		t.Errorf("it shows %+v, %v", now["segment.bytes"], err)
	}
	cluster, f = faulty(t, map[string]string{"segment.bytes": "1048576"})
	stale(cluster, -1)
	hasty := kafka.New(kafka.Options{Brokers: []string{f.addr}, Timeout: 200 * time.Millisecond})
	defer hasty.Close()
	if err := hasty.SetTopic(t.Context(), f.topic, settings, false); err == nil || !strings.Contains(err.Error(), "segment.bytes is still 1048576") {
		t.Errorf("it says %v", err)
	}
}
