-- The indexes that the cleanup's statements want on batch_download_requests.
--
-- In production they are the API's to make, by its migrations (README.md here has one for Alembic).
-- Or run this with psql as the owner of the table: no statement of it blocks writers, and it may be
-- run again. Not in one transaction: CONCURRENTLY allows none.

-- Finds expired requests by state and time, in order; and the few that are pending or processing by
-- state alone. Any index that begins with these two columns does as well.
CREATE INDEX CONCURRENTLY IF NOT EXISTS batch_download_requests_status_expires
    ON batch_download_requests (status, expires_at);

-- Only for PURGE_AFTER_DAYS: how long a request has been closed. Without purging nothing reads it.
CREATE INDEX CONCURRENTLY IF NOT EXISTS batch_download_requests_closed
    ON batch_download_requests (greatest(created_at, completed_at, expires_at))
 WHERE status IN ('expired', 'failed');
