-- After a change of the vulnerability database packages are looked up again from the lists that are here.

-- 1: the packages of the last result are to be looked up, not listed.
ALTER TABLE scan_jobs ADD COLUMN is_rematch INTEGER NOT NULL DEFAULT 0;

-- What was looked up longest ago.
CREATE INDEX scans_by_database ON scans (coalesce(database_built, 0));
-- Jobs that may come to nothing.
CREATE INDEX scan_jobs_rematches ON scan_jobs (id) WHERE state = 'ready' AND is_rematch = 1;
