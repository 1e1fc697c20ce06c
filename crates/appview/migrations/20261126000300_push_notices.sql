-- Pushes that a hold has not been told of yet: without its notice it has no records of the layers. Written before the push is
-- acknowledged, removed when the hold has answered.
CREATE TABLE push_notice (
    id          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    did         TEXT    NOT NULL, -- who pushed, and in whose name the hold is told
    auth_method TEXT    NOT NULL CHECK (auth_method IN ('oauth', 'app_password')),
    hold_did    TEXT    NOT NULL,
    notice      TEXT    NOT NULL, -- input of io.atcr.hold.notifyManifest, JSON
    pushed_at   INTEGER NOT NULL  -- Unix seconds
) STRICT;

CREATE INDEX push_notice_by_hold ON push_notice (hold_did, id);
CREATE INDEX push_notice_by_did ON push_notice (did, id);
