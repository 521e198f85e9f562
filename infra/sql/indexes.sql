-- Indexes on batch_download_requests for the cleanup's statements.
--
-- In production, create them with a migration of the API (README.md in this folder has one for
-- Alembic), or run this file with psql as the owner of the table. It does not block writers, and
-- repeated runs are safe. Do not run it in a transaction: CONCURRENTLY does not work in one.

-- Finds expired requests by status and time, in order, and the few pending or processing requests by
-- status. Any index that starts with these two columns is sufficient.
CREATE INDEX CONCURRENTLY IF NOT EXISTS batch_download_requests_status_expires
    ON batch_download_requests (status, expires_at);

-- Finds requests by the time at which they were closed. Used for PURGE_AFTER_DAYS only.
CREATE INDEX CONCURRENTLY IF NOT EXISTS batch_download_requests_closed
    ON batch_download_requests (greatest(created_at, completed_at, expires_at))
 WHERE status IN ('expired', 'failed');
