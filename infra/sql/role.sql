-- The database role of the functions, which may do what they do and nothing else: it reads the
-- columns below, changes the outcome of a request, removes old requests, and can add no row.
--
-- Run it in the API's database as the owner of the tables (who also needs CREATEROLE the first
-- time), again after any change of it, and as often as you like.
--
-- It sets no password, so that none stands in a file. Without one the role cannot log in where
-- PostgreSQL asks for passwords. Set it from psql, which sends only its hash, so that it reaches
-- neither the server's log nor pg_stat_statements:
--
--     \password makapix_bdr
--
-- and put the same into the secret that the parameter DatabaseSecretArn names.

BEGIN;

-- Roles belong to the whole cluster: another database may be running this at the same moment.
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

-- Everyone may connect by default; databases are often hardened against that.
DO $$
BEGIN
    IF NOT has_database_privilege('makapix_bdr', current_database(), 'CONNECT') THEN
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO makapix_bdr', current_database());
    END IF;
END
$$;

GRANT USAGE ON SCHEMA public TO makapix_bdr;

-- Forget what an earlier version of this file granted, the privileges on columns included.
REVOKE ALL ON batch_download_requests, users, posts, comments, reactions FROM makapix_bdr;

GRANT SELECT (id, user_id, post_ids, include_comments, include_reactions, send_email,
              status, file_path, file_size_bytes,
              created_at, started_at, completed_at, expires_at),
      UPDATE (status, error_message, file_path, file_size_bytes,
              started_at, completed_at, expires_at),
      -- PURGE_AFTER_DAYS needs it, and nothing else does.
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
