package main

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/weir-risk/weir/alerts/desk"
)

// TestOIDCFlags reads a line as it is typed.
func TestOIDCFlags(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("of the client\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	given := func(line string, lookup map[string]string) (*desk.Options, error) {
		fs := flag.NewFlagSet("desk", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		o := addOIDC(fs)
		if err := fs.Parse(strings.Fields(line)); err != nil {
			return nil, err
		}
		to := &desk.Options{TLS: true}
		return to, o.apply(&env{lookup: func(k string) (string, bool) { v, ok := lookup[k]; return v, ok }}, to)
	}
	const line = "--public-url https://desk.example --oidc-issuer https://id.example --oidc-client-id weir "
	got, err := given(line+"--oidc-client-secret-file "+secret+" --oidc-scopes groups --oidc-roles-claim roles --oidc-role a=analyst --oidc-role cn=b,ou=c=supervisor,auditor --oidc-role a=auditor --local-login Root,eve", nil)
	want := &desk.Options{TLS: true, PasswordsOf: []string{"root", "eve"}, OIDC: &desk.OIDC{Issuer: "https://id.example", ClientID: "weir", ClientSecret: "of the client",
		PublicURL: "https://desk.example", Scopes: []string{"groups"}, Claim: "roles",
		Roles: map[string]desk.RoleSet{"a": desk.Roles(desk.Analyst, desk.Auditor), "cn=b,ou=c": desk.Roles(desk.Supervisor, desk.Auditor)}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %+v, %v", got, got.OIDC, err)
	}
	got, err = given(line+"--oidc-role a=analyst --local-login=false", map[string]string{secretVariable: "from outside"})
	if err != nil || got.OIDC.ClientSecret != "from outside" || got.OIDC.Claim != "groups" || got.PasswordsOf == nil || len(got.PasswordsOf) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := given("", nil); err != nil || got.OIDC != nil || got.PasswordsOf != nil {
		t.Errorf("without a word: %+v, %v", got, err)
	}
	for wrong, why := range map[string]string{
		"--local-login=false":                      "nobody",
		"--local-login a/b":                        "no name",
		"--oidc-client-id x":                       "--oidc-issuer",
		"--oidc-role analyst":                      "GROUP=ROLE",
		"--oidc-role =analyst":                     "GROUP=ROLE",
		"--oidc-role a=chief":                      "no role",
		line + "--oidc-role a=analyst":             "secret",
		line + "--oidc-client-secret-file /no/way": "--oidc-client-secret-file",
	} {
		if _, err := given(wrong, nil); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", wrong, err, why)
		}
	}
}
