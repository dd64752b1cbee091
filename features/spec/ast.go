package spec

// word is a piece of the text with its place.
type word struct {
	text      string
	line, col int
}

// file is a spec as it was written: declarations in place, names unresolved.
type file struct {
	name, base *word
	fields     []fieldDecl
	types      []valuesDecl
	statuses   []valuesDecl
	scored     *listDecl
	home       *homeDecl
	late       *setting
	future     *setting
	maturity   *setting
	labels     *listDecl
	dlq        *word
	maxBytes   *setting
	maxDepth   *setting
	features   []featureDecl
	rules      []ruleDecl

	// spoilt holds the names that lines with a mistake would have declared, so
	// that one mistake is not reported again at each use of the name.
	spoilt map[string]bool
}

// fieldDecl is a field line; nil is what it does not say.
type fieldDecl struct {
	own      string // "text" or "number": a field of the bank's own
	name     word
	path     []string
	constant *word // a value in place of a path
	source   word  // the path or the constant
	form     *word // as rfc3339
	unit     *word // decimal, minor
	byRule   *word // default VALUE
	secret   *word
	keep     *word // keep bin
}

// valuesDecl maps values of the bank's to a type or a status.
type valuesDecl struct {
	name   word
	values []word
}

// listDecl is a line that lists names.
type listDecl struct {
	at    word
	names []word
}

// homeDecl is the home line.
type homeDecl struct {
	entity word
	dedup  *setting
}

// setting is a number or a duration in milliseconds.
type setting struct {
	value int64
	at    word
}

// featureDecl is a feature line.
type featureDecl struct {
	at    word
	expr  *node
	name  *word
	group *word
}

// ruleDecl is a fallback line.
type ruleDecl struct {
	action word
	cond   *node
}

type nodeKind uint8

const (
	nodeNumber nodeKind = iota // num
	nodeString                 // text
	nodeName                   // text
	nodeCall                   // text(args) clauses
	nodeNot                    // args[0]
	nodeMinus                  // args[0]
	nodeBinary                 // op, args[0], args[1]
)

// node is an expression as it was written; parentheses are in its shape.
type node struct {
	kind    nodeKind
	op      Op
	text    string
	num     float64
	args    []*node
	zone    *word    // of hour, weekday, day and weekend
	clauses *clauses // of an aggregate
	// bad is set where a mistake was reported; nothing more is said about it.
	bad  bool
	line int
	col  int
}

// clauses are what follows an aggregate; nil is what it does not say.
type clauses struct {
	by     []word
	over   *setting // value 0 is over all
	byRule bool     // over is what holds where nothing is said
	delay  *setting
	before *word
	where  *node
}
