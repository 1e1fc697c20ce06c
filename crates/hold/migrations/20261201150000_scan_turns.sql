-- Owners take turns, connections hold jobs, and uploads keep their blobs.

-- Among the jobs of one priority the lowest turn comes first: an owner's jobs have turns one after the other, beginning with the turn that
-- the queue has reached.
ALTER TABLE scan_jobs ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
-- The connection that has a running job.
ALTER TABLE scan_jobs ADD COLUMN holder INTEGER;

DROP INDEX scan_jobs_ready;
CREATE INDEX scan_jobs_ready ON scan_jobs (priority, turn, queued_at, id) WHERE state = 'ready';
CREATE INDEX scan_jobs_turns ON scan_jobs (owner, priority, turn) WHERE state = 'ready';
-- What one owner has in the queue.
CREATE INDEX scan_jobs_waiting ON scan_jobs (owner) WHERE state IN ('ready', 'resting', 'running');
-- Jobs that were lost with their scanner and wait for one that has no other.
CREATE INDEX scan_jobs_lost ON scan_jobs (due_at) WHERE state = 'ready' AND failure_class = 'lost';
-- Ends without a result.
CREATE INDEX scan_jobs_without_result ON scan_jobs (ended_at) WHERE state IN ('failed', 'not-applicable');
CREATE INDEX scan_uploads_by_cid ON scan_uploads (cid);
