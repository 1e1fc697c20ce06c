-- 0 until everything that a deletion names is gone or was left alone: one that broke off is finished or undone by its owner.
ALTER TABLE deletion ADD COLUMN finished INTEGER NOT NULL DEFAULT 1;
