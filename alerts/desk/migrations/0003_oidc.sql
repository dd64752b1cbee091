-- Who vouches for a person and as whom: the issuer and the subject of an identity
-- provider, both NULL where a password lets the person in.
ALTER TABLE users ADD COLUMN issuer TEXT;

ALTER TABLE users ADD COLUMN subject TEXT;

CREATE UNIQUE INDEX users_subject ON users (issuer, subject);
