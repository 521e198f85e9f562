-- Database role of the functions, with least privilege: it can read the columns below, update the
-- outcome of a request and delete old requests. It cannot insert rows.
--
-- Run this file in the API's database as the owner of the tables, who also needs CREATEROLE the first
-- time. Run it again after each change of this file. Repeated runs are safe.
--
-- This file sets no password, so that no file contains it. Without a password the role cannot log in
-- where PostgreSQL requires one. Set it in psql, which sends only a hash, so that the password reaches
-- neither the server's log nor pg_stat_statements:
--
--     \password makapix_bdr
--
-- Then store the same password in the secret that the parameter DatabaseSecretArn names.

BEGIN;

-- Roles belong to the whole cluster: another database may run this at the same time.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'makapix_bdr') THEN
        CREATE ROLE makapix_bdr LOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN
        NULL;
END
$$;

-- PUBLIC has CONNECT by default, which administrators often revoke.
DO $$
BEGIN
    IF NOT has_database_privilege('makapix_bdr', current_database(), 'CONNECT') THEN
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO makapix_bdr', current_database());
    END IF;
END
$$;

GRANT USAGE ON SCHEMA public TO makapix_bdr;

-- Revokes what an earlier version of this file granted, including privileges on columns.
REVOKE ALL ON batch_download_requests, users, posts, comments, reactions FROM makapix_bdr;

GRANT SELECT (id, user_id, post_ids, include_comments, include_reactions, send_email,
              status, file_path, file_size_bytes,
              created_at, started_at, completed_at, expires_at),
      UPDATE (status, error_message, file_path, file_size_bytes,
              started_at, completed_at, expires_at),
      -- For PURGE_AFTER_DAYS only.
      DELETE
   ON batch_download_requests TO makapix_bdr;

GRANT SELECT (id, handle, email, public_sqid)
   ON users TO makapix_bdr;

GRANT SELECT (id, public_sqid, title, description, hashtags, art_url, file_format,
              width, height, frame_count, created_at)
   ON posts TO makapix_bdr;

GRANT SELECT (id, post_id, author_id, body, hidden_by_mod, deleted_by_owner, created_at)
   ON comments TO makapix_bdr;

GRANT SELECT (post_id, emoji)
   ON reactions TO makapix_bdr;

COMMIT;
