-- A run as schema 1 stored it (sqlite3 .dump), with its version.
BEGIN TRANSACTION;
CREATE TABLE array (
    name TEXT PRIMARY KEY, unit INTEGER NOT NULL, dtype TEXT NOT NULL, shape TEXT NOT NULL,
    facts TEXT NOT NULL DEFAULT '{}', data BLOB NOT NULL);
INSERT INTO "array" VALUES('4b8a256b3373b0475c8b/0/pair',1,'float32','[1]','{"distance": 0.1, "predicted": 8}',X'0000803F');
INSERT INTO "array" VALUES('4f3a4fe2aa4c2be33f48/0/witness',2,'float32','[2]','{"distance": 0.1, "predicted": 8}',X'0000803F00000040');
INSERT INTO "array" VALUES('4f3a4fe2aa4c2be33f48/1/witness',2,'float32','[2]','{"distance": 0.1, "predicted": 8}',X'0000803F00000040');
CREATE TABLE estimate (
    id INTEGER PRIMARY KEY, unit INTEGER NOT NULL REFERENCES unit(id), series INTEGER NOT NULL,
    input INTEGER NOT NULL, label INTEGER, predicted INTEGER, radius REAL, capped INTEGER NOT NULL DEFAULT 0,
    low REAL, high REAL, verdict TEXT, reason TEXT NOT NULL DEFAULT '', evidence TEXT NOT NULL,
    curves TEXT NOT NULL DEFAULT '[]', notes TEXT NOT NULL DEFAULT '[]', witness TEXT,
    forward INTEGER NOT NULL, backward INTEGER NOT NULL, seconds REAL NOT NULL,
    status TEXT NOT NULL, error TEXT,
    UNIQUE (series, input));
INSERT INTO "estimate" VALUES(1,3,1,0,3,3,0.3,0,NULL,NULL,'refuted','FF201','{"a": "inf"}','[]','[]',NULL,0,0,0.0,'ok',NULL);
INSERT INTO "estimate" VALUES(2,3,1,1,3,3,0.3,0,NULL,NULL,'refuted','FF201','{"a": "inf"}','[]','[]',NULL,0,0,0.0,'ok',NULL);
INSERT INTO "estimate" VALUES(3,2,2,0,NULL,NULL,0.1,0,NULL,NULL,'held','1 check','{}','[]','[]','4f3a4fe2aa4c2be33f48/0/witness',0,0,0.0,'ok',NULL);
INSERT INTO "estimate" VALUES(4,2,2,1,NULL,NULL,0.1,0,NULL,NULL,'held','1 check','{}','[]','[]','4f3a4fe2aa4c2be33f48/1/witness',0,0,0.0,'ok',NULL);
CREATE TABLE event (id INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, message TEXT NOT NULL);
CREATE TABLE finding (
    id TEXT PRIMARY KEY, estimate INTEGER NOT NULL REFERENCES estimate(id), code TEXT NOT NULL,
    severity TEXT NOT NULL, message TEXT NOT NULL, evidence TEXT NOT NULL, witness TEXT) WITHOUT ROWID;
INSERT INTO "finding" VALUES('06d26ebabd',2,'FF201','refuted','floor above ceiling','{}','4f3a4fe2aa4c2be33f48/1/witness');
INSERT INTO "finding" VALUES('c0857603e8',1,'FF201','refuted','floor above ceiling','{}','4f3a4fe2aa4c2be33f48/0/witness');
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('created','1.0');
INSERT INTO "meta" VALUES('ended','1795348271.446595');
INSERT INTO "meta" VALUES('error','null');
INSERT INTO "meta" VALUES('exit_code','0');
INSERT INTO "meta" VALUES('id','"0a1b2c3d"');
INSERT INTO "meta" VALUES('in_process','true');
INSERT INTO "meta" VALUES('seed','0');
INSERT INTO "meta" VALUES('started','1.0');
INSERT INTO "meta" VALUES('status','"done"');
INSERT INTO "meta" VALUES('study','{"seed": 0, "norms": ["linf"], "models": [{"use": "a:b"}], "inputs": "x:y", "maskers": [{"label": "", "stack": []}], "estimators": [{"use": "clever", "label": "", "gradient": "autograd"}, {"use": "attack", "label": "", "gradient": "autograd"}], "chunk": 32, "device": "auto", "recover": "suspect", "ceiling": true, "trap": false, "time_limit": 0.0, "tag": ""}');
CREATE TABLE model (
    name TEXT PRIMARY KEY, spec TEXT NOT NULL, facts TEXT NOT NULL, fingerprint TEXT NOT NULL);
INSERT INTO "model" VALUES('a:b','{"use": "a:b"}','{"count": 2}','{"weights": "x"}');
CREATE TABLE observation (
    id INTEGER PRIMARY KEY, unit INTEGER NOT NULL REFERENCES unit(id),
    model TEXT NOT NULL, masker TEXT NOT NULL, norm TEXT NOT NULL, input INTEGER NOT NULL,
    agreement INTEGER, facts TEXT NOT NULL, UNIQUE (model, masker, norm, input));
INSERT INTO "observation" VALUES(1,1,'a:b','none','linf',0,1,'{"margin": 1.5, "arrays": {"pair": "4b8a256b3373b0475c8b/0/pair"}}');
CREATE TABLE progress (unit INTEGER PRIMARY KEY, done INTEGER NOT NULL, total INTEGER NOT NULL,
    radius TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE series (
    id INTEGER PRIMARY KEY, model TEXT NOT NULL, masker TEXT NOT NULL, stack TEXT NOT NULL,
    norm TEXT NOT NULL, estimator TEXT NOT NULL, label TEXT NOT NULL, params TEXT NOT NULL,
    gradient TEXT NOT NULL, recovers TEXT,
    claim TEXT NOT NULL, plugin TEXT NOT NULL,
    UNIQUE (model, masker, norm, label));
INSERT INTO "series" VALUES(1,'a:b','none','[]','linf','clever','clever','{}','autograd',NULL,'lower_estimate','{"dist": "falsefloor", "version": "0"}');
INSERT INTO "series" VALUES(2,'a:b','none','[]','linf','attack','attack','{}','autograd',NULL,'upper_bound','{"dist": "falsefloor", "version": "0"}');
CREATE TABLE tally (series INTEGER NOT NULL, verdict TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (series, verdict)) WITHOUT ROWID;
INSERT INTO "tally" VALUES(1,'held',0);
INSERT INTO "tally" VALUES(1,'refuted',2);
INSERT INTO "tally" VALUES(2,'held',2);
CREATE TABLE unit (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, cell TEXT NOT NULL, kind TEXT NOT NULL,
    spec TEXT NOT NULL,
    model TEXT NOT NULL, masker TEXT NOT NULL, norm TEXT NOT NULL, series INTEGER REFERENCES series(id),
    first INTEGER NOT NULL, stop INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'queued', fingerprint TEXT NOT NULL DEFAULT '', error TEXT,
    forward INTEGER NOT NULL DEFAULT 0, backward INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL DEFAULT 0, finished REAL);
INSERT INTO "unit" VALUES(1,'58b63a33a4ae18a9c2b9','4b8a256b3373b0475c8b','observe','{"format": 1, "kind": "observe", "model": {"use": "a:b"}, "stack": [], "norm": "linf", "inputs": "x:y", "chunk": [0, 2], "seed": 0}','a:b','none','linf',NULL,0,2,'ok','',NULL,0,0,0.0,1.79534827130693650249e+09);
INSERT INTO "unit" VALUES(2,'fcbb6ed3b804fecac659','4f3a4fe2aa4c2be33f48','estimate','{"format": 1, "kind": "estimate", "model": {"use": "a:b"}, "stack": [], "norm": "linf", "inputs": "x:y", "chunk": [0, 2], "seed": 0, "estimator": {"use": "attack", "params": {}, "gradient": "autograd"}}','a:b','none','linf',2,0,2,'ok','',NULL,0,0,0.0,1.79534827140690612795e+09);
INSERT INTO "unit" VALUES(3,'20bcd1aec77c1e258539','d6573e9b3a0ffbd786e8','estimate','{"format": 1, "kind": "estimate", "model": {"use": "a:b"}, "stack": [], "norm": "linf", "inputs": "x:y", "chunk": [0, 2], "seed": 0, "estimator": {"use": "clever", "params": {}, "gradient": "autograd"}}','a:b','none','linf',1,0,2,'ok','',NULL,0,0,0.0,1.79534827135502958296e+09);
CREATE INDEX unit_status ON unit (status);
CREATE INDEX estimate_radius ON estimate (series, radius);
CREATE INDEX finding_estimate ON finding (estimate);
CREATE INDEX finding_code ON finding (code);
COMMIT;
PRAGMA user_version = 1;
PRAGMA application_id = 1717988466;
