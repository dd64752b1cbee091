// Package desk is the web application where analysts work on alerts.
//
// A request passes the guard, which knows every route from one table: its method and
// path, the roles that may, and what does it. What is not in the table does not exist.
// The guard sets the headers, refuses what another site makes a browser send, finds
// the session and its user, checks the roles, and writes what is to be audited. Only
// then the handler runs, with a request whose context has the view keep from its reader
// what waits for their second look ([alerts.ReadBy]). It returns an error rather than to
// write one, and it writes nothing before the audit log has the entry: what cannot be
// audited is not shown.
//
// A page is a file of templates, which defines title and main, in layout.html, and may
// name what the files part_*.html define; Server's method page makes it whole before
// the first byte is sent. What is in static is served
// under a name that carries its hash, asset in a template, and kept by browsers for
// good.
//
// Scripts add keys and speed (static/desk.js, static/case.js); every page works without
// them, by links and forms. A browser fetches the next case ahead, which is audited as
// seen, since it was sent.
//
// No case waits for the history longer than Options.HistoryAtOnce. What the history says
// later a script puts in its place; without script it is a page, /alerts/{id}/history.
//
// Accounts, sessions and lock-outs are in a database of their own, durable and backed
// up ([Accounts.Backup]); nothing of it is a fold. It may be opened by several
// processes at once, so that weir user works beside a running desk. Passwords are
// kept as argon2id, session ids as SHA-256. What is wrong with a log-in is written to
// the audit log, and never told.
//
// People may also log in at an identity provider ([OIDC]), by the authorization code flow
// with PKCE. What is sent there and has to come back follows from a secret in a cookie of
// the browser that began, so that nothing is kept here while somebody logs in. Issuer and
// subject say whose account it is, groups there what it may. Pages do tell why somebody
// whom the provider has vouched for is not let in. What the provider ends, by a token that
// it sends here itself, is ended here too.
//
//	user              names, roles
//	accounts, store,  the database: accounts, its file, passwords
//	password
//	session           sessions, their ids and cookies
//	tries, bucket     lock-outs of names, rates of addresses
//	server, routes,   the frame: options, the table, what every request passes,
//	guard, page       templates and files
//	login             logging in and out
//	oidc, oidc_login, an identity provider, logging in and out there, accounts from there
//	oidc_logout,
//	oidc_accounts
//	audit, outbox     the topic audit, and what waits in the database to be written there
//	trail             the page of the audit log, and its exports
//	api, api_alert,   what programs ask, as openapi.json says; what they act once;
//	once, tokens      what lets them in
//	views, print      filters of the queue that have a name; a case on paper
//	webhooks,         what is told to other systems: settings, the page, from the fold
//	webhooks_*        into deliveries, and over the network
//	queue, act        the list, and what is done with an alert
//	case, past, plot, one alert: what the view and the history know, its picture and
//	timeline          what happened around it
//	features,         one decision: what the model saw; its record, and its proof
//	receipt
//	supervisor, team  how the desk does, who has what
//	look              second looks, and what is kept from whom until they are given
//	chart             pictures of days
//	models            what the page of the models knows (models.go), shows (models_page,
//	                  models_chart) and does (models_act, proposals)
package desk
