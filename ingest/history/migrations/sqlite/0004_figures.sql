-- What a day of event time came to, of each bundle that decided in it; 0 is of all.
CREATE TABLE figures (
  day TEXT NOT NULL, bundle INTEGER NOT NULL, quantity TEXT NOT NULL, value REAL NOT NULL,
  PRIMARY KEY (day, bundle, quantity)
) WITHOUT ROWID;
