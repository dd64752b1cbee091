package main

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weir-risk/weir/alerts/desk"
)

// oidcFlags say at which identity provider people log in at the desk, and who may log
// in by password beside.
type oidcFlags struct {
	publicURL, issuer, clientID, secretFile, claim, scopes string
	roles                                                  groupRoles
	localLogin                                             string
}

// secretVariable holds the client's secret where no file does.
const secretVariable = "WEIR_OIDC_CLIENT_SECRET"

func addOIDC(fs *flag.FlagSet) *oidcFlags {
	o := &oidcFlags{}
	fs.StringVar(&o.publicURL, "public-url", "", "`URL` at which browsers reach the desk, such as https://desk.bank.example")
	fs.StringVar(&o.issuer, "oidc-issuer", "", "`URL` of the identity provider where people log in (OpenID Connect), exactly as it calls\nitself. The desk is registered there as a confidential client with the redirect URL\nPUBLIC-URL/login/oidc/callback, and to end sessions here with those there the\nback-channel log-out URL PUBLIC-URL/login/oidc/logout")
	fs.StringVar(&o.clientID, "oidc-client-id", "", "`ID` that the provider has given to the desk")
	fs.StringVar(&o.secretFile, "oidc-client-secret-file", "", "`FILE` of the secret that it has given; or the environment variable\n"+secretVariable)
	fs.StringVar(&o.scopes, "oidc-scopes", "profile email", "`SCOPES` that are asked for beside openid; some providers\ntell groups only where the scope groups is among them")
	fs.StringVar(&o.claim, "oidc-roles-claim", "groups", "`CLAIM` that holds a person's groups, in the ID token or the user info, or the path to it,\nsuch as realm_access.roles")
	fs.Var(&o.roles, "oidc-role", "what the people of a group may: `GROUP=ROLE,...`, such as fraud-analysts=analyst (may be\nrepeated). Roles are those of the last log-in; whoever is in none of the groups is not let in")
	fs.StringVar(&o.localLogin, "local-login", "true", "`WHO` may log in by password: true, all accounts that have one; false,\nnobody; or NAME,..., a few for when the provider is away")
	return o
}

// groupRoles is the value of --oidc-role.
type groupRoles map[string]desk.RoleSet

func (g *groupRoles) String() string {
	var list []string
	for _, group := range slices.Sorted(maps.Keys(*g)) {
		list = append(list, group+"="+(*g)[group].String())
	}
	return strings.Join(list, " ")
}

// Set takes one group; it may hold the sign of equality too.
func (g *groupRoles) Set(text string) error {
	at := strings.LastIndexByte(text, '=')
	if at < 1 {
		return fmt.Errorf("%q is not GROUP=ROLE,..., such as fraud-analysts=analyst", text)
	}
	roles, err := desk.ParseRoles(text[at+1:])
	if err != nil {
		return err
	}
	if *g == nil {
		*g = make(groupRoles)
	}
	(*g)[text[:at]] |= roles
	return nil
}

// apply puts into the desk's options what the flags say.
func (o *oidcFlags) apply(e *env, to *desk.Options) error {
	switch o.localLogin {
	case "true":
	case "false":
		to.PasswordsOf = []string{}
	default:
		for text := range strings.SplitSeq(o.localLogin, ",") {
			name, err := desk.ParseName(strings.TrimSpace(text))
			if err != nil {
				return usagef("--local-login %s: true, false, or the names of accounts: %v", o.localLogin, err)
			}
			to.PasswordsOf = append(to.PasswordsOf, name)
		}
	}
	if o.issuer == "" {
		if o.clientID != "" || o.secretFile != "" || len(o.roles) > 0 {
			return usagef("--oidc-issuer says which provider the other flags of --oidc are about")
		}
		if o.localLogin == "false" {
			return usagef("--local-login=false without --oidc-issuer leaves nobody who gets in")
		}
		return nil
	}
	secret, err := o.secret(e)
	if err != nil {
		return err
	}
	to.OIDC = &desk.OIDC{Issuer: o.issuer, ClientID: o.clientID, ClientSecret: secret, PublicURL: o.publicURL,
		Scopes: strings.Fields(o.scopes), Claim: o.claim, Roles: o.roles}
	if err := to.OIDC.Check(to.TLS); err != nil {
		return usagef("log-in at %s (--oidc-issuer, --oidc-client-id, --oidc-client-secret-file, --oidc-role, --public-url): %v", o.issuer, err)
	}
	return nil
}

// secret reads the client's secret.
func (o *oidcFlags) secret(e *env) (string, error) {
	if o.secretFile == "" {
		text, _ := e.lookup(secretVariable)
		return text, nil
	}
	b, err := readSecret(o.secretFile)
	if err != nil {
		return "", fmt.Errorf("--oidc-client-secret-file: %w", err)
	}
	return oneLine(bytes.NewReader(b))
}
