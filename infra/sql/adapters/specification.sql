-- Adapter for the tables of the specification (schema.sql): the functions' database role with least
-- privilege. The role can read the columns below, update the outcome of a request and delete old
-- requests. It cannot insert rows.
--
-- Run this file with psql in the site's database as the owner of the tables, who also needs CREATEROLE the
-- first time. Run it again after each change of this file. Repeated runs are safe. It changes nothing
-- when it fails.
--
-- This file sets no password, so that no file contains it. Without a password the role cannot log in
-- where PostgreSQL requires one. Set it in psql, which sends only a hash, so that the password reaches
-- neither the server's log nor pg_stat_statements:
--
--     \password makapix_bdr
--
-- Then store the same password in the secret that the parameter DatabaseSecretArn names.

\set ON_ERROR_STOP on
BEGIN;
SET LOCAL client_min_messages = warning;

-- Refuses other tables.
DO $$
DECLARE
    lacking text;
    has_file_format boolean := EXISTS (
        SELECT FROM pg_attribute AS a
         WHERE a.attrelid = to_regclass('public.posts') AND a.attname = 'file_format' AND NOT a.attisdropped);
    has_post_files boolean := to_regclass('public.post_files') IS NOT NULL;
BEGIN
    SELECT string_agg(expected.table_name || '.' || wanted.column_name, ', '
                      ORDER BY expected.table_name, wanted.position) INTO lacking
      FROM (VALUES
        ('batch_download_requests', 'id user_id post_ids include_comments include_reactions send_email status error_message file_path file_size_bytes created_at started_at completed_at expires_at'),
        ('users', 'id handle email public_sqid'),
        ('posts', 'id public_sqid title description hashtags art_url file_format width height frame_count created_at'),
        ('comments', 'id post_id author_id body hidden_by_mod deleted_by_owner created_at'),
        ('reactions', 'post_id emoji')) AS expected (table_name, column_names)
     CROSS JOIN LATERAL unnest(string_to_array(expected.column_names, ' '))
                         WITH ORDINALITY AS wanted (column_name, position)
     WHERE NOT EXISTS (
        SELECT FROM pg_attribute AS a
         WHERE a.attrelid = to_regclass('public.' || expected.table_name)
           AND a.attname = wanted.column_name AND NOT a.attisdropped);
    IF lacking IS NOT NULL THEN
        RAISE EXCEPTION 'specification.sql does not fit: %; the tables lack %. Nothing was changed',
            CASE WHEN has_file_format AND NOT has_post_files
                 THEN 'posts.file_format exists and post_files does not: this is the schema of specification.sql'
                 WHEN has_post_files AND NOT has_file_format
                 THEN 'post_files exists and posts.file_format does not: this is the schema of makapix-2026.sql'
                 ELSE 'this is the schema of neither specification.sql nor makapix-2026.sql' END,
            lacking;
    END IF;
END
$$;

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

-- With `-v connection_limit=30`: the connections that the functions may have together. Without it, the limit
-- stays as it is; a new role has none.
\if :{?connection_limit}
ALTER ROLE makapix_bdr CONNECTION LIMIT :connection_limit;
\endif

-- PUBLIC has these privileges by default, which administrators often revoke.
DO $$
BEGIN
    IF NOT has_database_privilege('makapix_bdr', current_database(), 'CONNECT') THEN
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO makapix_bdr', current_database());
    END IF;
    IF NOT has_schema_privilege('makapix_bdr', 'public', 'USAGE') THEN
        GRANT USAGE ON SCHEMA public TO makapix_bdr;
    END IF;
END
$$;

-- Removes what another adapter, or an earlier version of this one, left behind.
DROP VIEW IF EXISTS makapix_bdr.posts, makapix_bdr.comments, makapix_bdr.users, makapix_bdr.reactions;
DROP FUNCTION IF EXISTS makapix_bdr.posts(), makapix_bdr.comments(), makapix_bdr.users(), makapix_bdr.reactions();
DO $$
DECLARE
    granted record;
BEGIN
    IF EXISTS (SELECT FROM pg_namespace WHERE nspname = 'makapix_bdr') THEN
        COMMENT ON SCHEMA makapix_bdr IS NULL;
    END IF;
    FOR granted IN
        SELECT DISTINCT p.table_name FROM information_schema.column_privileges AS p
         WHERE p.grantee = 'makapix_bdr' AND p.table_schema = 'public'
    LOOP
        EXECUTE format('REVOKE ALL ON public.%I FROM makapix_bdr', granted.table_name);
    END LOOP;
END
$$;

GRANT SELECT (id, user_id, post_ids, include_comments, include_reactions, send_email,
              status, file_path, file_size_bytes,
              created_at, started_at, completed_at, expires_at),
      UPDATE (status, error_message, file_path, file_size_bytes,
              started_at, completed_at, expires_at),
      -- For PURGE_AFTER_DAYS only.
      DELETE
   ON public.batch_download_requests TO makapix_bdr;

GRANT SELECT (id, handle, email, public_sqid)
   ON public.users TO makapix_bdr;

GRANT SELECT (post_id, emoji)
   ON public.reactions TO makapix_bdr;

GRANT SELECT (id, public_sqid, title, description, hashtags, art_url, file_format,
              width, height, frame_count, created_at)
   ON public.posts TO makapix_bdr;

GRANT SELECT (id, post_id, author_id, body, hidden_by_mod, deleted_by_owner, created_at)
   ON public.comments TO makapix_bdr;

-- Optional columns.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_attribute AS a
                WHERE a.attrelid = 'public.posts'::regclass AND a.attname = 'mod_hashtags' AND NOT a.attisdropped) THEN
        GRANT SELECT (mod_hashtags) ON public.posts TO makapix_bdr;
    END IF;
    IF EXISTS (SELECT FROM pg_attribute AS a
                WHERE a.attrelid = 'public.posts'::regclass AND a.attname = 'license' AND NOT a.attisdropped) THEN
        GRANT SELECT (license) ON public.posts TO makapix_bdr;
    END IF;
    IF EXISTS (SELECT FROM pg_attribute AS a
                WHERE a.attrelid = 'public.posts'::regclass AND a.attname = 'source_url' AND NOT a.attisdropped) THEN
        GRANT SELECT (source_url) ON public.posts TO makapix_bdr;
    END IF;
    IF EXISTS (SELECT FROM pg_attribute AS a
                WHERE a.attrelid = 'public.comments'::regclass AND a.attname = 'deleted_by_mod' AND NOT a.attisdropped) THEN
        GRANT SELECT (deleted_by_mod) ON public.comments TO makapix_bdr;
    END IF;
END
$$;

COMMIT;
