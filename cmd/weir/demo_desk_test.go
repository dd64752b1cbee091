package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// analystCloses is how many alerts the analyst of a demo closes.
const analystCloses = 12

// loginAt is how a demo says where its desk is, and with which password.
var loginAt = regexp.MustCompile(`the desk +(http://\S+)\n[^;]*password\s+(\S+);`)

// previousAction is what the form of a case names.
var previousAction = regexp.MustCompile(`name="previous" value="([^"]*)"`)

// analyst logs in at the desk that a demo tells of, and closes alerts as a browser does:
// the next best one, again and again. Of the first half she says that they are genuine,
// of the others that they are fraud, whatever they are: some of it nobody else says.
func analyst(ctx context.Context, demo *stopWhen) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	client := &http.Client{Jar: jar}
	var at, password string
	for at == "" {
		if m := loginAt.FindStringSubmatch(demo.text()); m != nil {
			at, password = m[1], m[2]
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return errors.New("the demo did not say how to log in")
		}
	}
	// post sends a form, follows where it leads, and returns that and the page there.
	post := func(path string, form url.Values) (string, string, error) {
		r, err := http.NewRequestWithContext(ctx, "POST", at+path, strings.NewReader(form.Encode()))
		if err != nil {
			return "", "", err
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer, err := client.Do(r)
		if err != nil {
			return "", "", err
		}
		defer answer.Body.Close()
		page, err := io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("POST %s: %s\n%s", path, answer.Status, page)
		}
		return answer.Request.URL.Path, string(page), err
	}
	if _, _, err := post("/login", url.Values{"name": {"ana"}, "password": {password}}); err != nil {
		return err
	}
	for closed := 0; closed < analystCloses; {
		path, page, err := post("/next", nil)
		if err != nil {
			return err
		}
		last := previousAction.FindStringSubmatch(page)
		if path == "/queue" || last == nil { // nothing is open yet
			if err := sleep(ctx, 5*time.Millisecond); err != nil {
				return fmt.Errorf("%d alerts are closed", closed)
			}
			continue
		}
		kind := "closed_genuine"
		if closed >= analystCloses/2 {
			kind = "closed_fraud"
		}
		_, page, err = post(path+"/act", url.Values{"kind": {kind}, "previous": {last[1]}, "reason": {""}})
		if err != nil {
			return err
		}
		if !strings.Contains(page, "The verdict is label 1 of transaction") {
			return fmt.Errorf("alert %s is not closed:\n%s", path, page)
		}
		closed++
	}
	return nil
}
