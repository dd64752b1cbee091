package schemas

// RandomDecision is randomDecision for the tests outside the package.
var RandomDecision = randomDecision
