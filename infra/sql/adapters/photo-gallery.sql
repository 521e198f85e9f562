-- Example of an adapter for another site: a photo gallery, whose tables have other names, other columns
-- and other ids. Copy it, and change the tables, the columns and the functions' bodies for your site. The
-- role can read the columns below, update the outcome of a request and delete old requests. It cannot
-- insert rows.
--
-- Only batch_download_requests has the name and the columns of the contract: the site adds this table for
-- the functions. The files are in the vault, and the site publishes them under a URL: the parameter
-- VaultUrlPrefixes names it.
--
-- Run this file with psql in the site's database as the owner of the tables, who also needs CREATEROLE
-- and CREATE on the database the first time. Run it again after each change of this file. Repeated runs
-- are safe. It changes nothing when it fails.
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
        ('members', 'member_no name mail profile'),
        ('photos', 'id number slug caption story tags file_url pixels_x pixels_y taken_at'),
        ('remarks', 'id photo_id member_no remark visibility written_at'),
        ('likes', 'photo_id')) AS expected (table_name, column_names)
     CROSS JOIN LATERAL unnest(string_to_array(expected.column_names, ' '))
                         WITH ORDINALITY AS wanted (column_name, position)
     WHERE NOT EXISTS (
        SELECT FROM pg_attribute AS a
         WHERE a.attrelid = to_regclass('public.' || expected.table_name)
           AND a.attname = wanted.column_name AND NOT a.attisdropped);
    IF lacking IS NOT NULL THEN
        RAISE EXCEPTION 'photo-gallery.sql does not fit: %; the tables lack %. Nothing was changed',
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

-- The functions find these views before the tables: PostgreSQL's default search path is "$user", public.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'makapix_bdr') THEN
        CREATE SCHEMA makapix_bdr;
    END IF;
END
$$;
-- `bdrctl doctor` and the functions' errors read the adapter's name and its views here.
COMMENT ON SCHEMA makapix_bdr IS 'adapter photo-gallery.sql with posts, comments, users, reactions';
GRANT USAGE ON SCHEMA makapix_bdr TO makapix_bdr;

-- The second role of an alternating-user rotation, which Secrets Manager otherwise creates itself. It
-- has another name, so "$user" is no schema for it. It has no password until the first rotation.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'makapix_bdr_clone') THEN
        CREATE ROLE makapix_bdr_clone LOGIN IN ROLE makapix_bdr;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN
        NULL;
END
$$;
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_db_role_setting AS s
                    WHERE s.setrole = 'makapix_bdr_clone'::regrole AND s.setdatabase = 0
                      AND 'search_path=makapix_bdr, public' = ANY (s.setconfig)) THEN
        ALTER ROLE makapix_bdr_clone SET search_path = makapix_bdr, public;
    END IF;
END
$$;
\if :{?connection_limit}
ALTER ROLE makapix_bdr_clone CONNECTION LIMIT :connection_limit;
\endif

-- The functions' bodies are strings, so that PostgreSQL records no dependency on the columns: the site's
-- migrations may alter and drop them. PostgreSQL inlines the bodies into the statements, which therefore
-- use the tables' indexes. A column that was dropped is an error of the next request, which names it.
-- `%TYPE` keeps the type of an id, because a cast would hide its index; run this file again after a
-- migration alters that type. Everything else becomes text, a cast that fails for no value.

-- Requests list photos by their number: an id must be an integer or a bigint, with an index.
CREATE FUNCTION makapix_bdr.posts()
RETURNS TABLE (id public.photos.number%TYPE, public_sqid text, title text, description text, hashtags jsonb,
               art_url text, file_format text, width text, height text, frame_count text,
               created_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT p.number, p.slug::text, p.caption::text, p.story::text, to_jsonb(p.tags),
           p.file_url::text, NULL, p.pixels_x::text, p.pixels_y::text, '1', p.taken_at AT TIME ZONE 'UTC'
      FROM public.photos AS p
$$;

CREATE FUNCTION makapix_bdr.comments()
RETURNS TABLE (id text, post_id public.photos.number%TYPE, author_id public.remarks.member_no%TYPE,
               body text, hidden_by_mod boolean, deleted_by_owner boolean, created_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT r.id::text, p.number, r.member_no, r.remark::text,
           r.visibility = 'moderated', r.visibility = 'withdrawn', r.written_at::timestamptz
      FROM public.remarks AS r
      JOIN public.photos AS p ON p.id = r.photo_id
$$;

CREATE FUNCTION makapix_bdr.users()
RETURNS TABLE (id public.members.member_no%TYPE, handle text, email text, public_sqid text)
LANGUAGE sql STABLE AS $$
    SELECT m.member_no, m.name::text, m.mail::text, m.profile::text
      FROM public.members AS m
$$;

CREATE FUNCTION makapix_bdr.reactions()
RETURNS TABLE (post_id public.photos.number%TYPE, emoji text)
LANGUAGE sql STABLE AS $$
    SELECT p.number, '❤️'
      FROM public.likes AS l
      JOIN public.photos AS p ON p.id = l.photo_id
$$;

CREATE VIEW makapix_bdr.posts AS SELECT * FROM makapix_bdr.posts();
CREATE VIEW makapix_bdr.comments AS SELECT * FROM makapix_bdr.comments();
CREATE VIEW makapix_bdr.users AS SELECT * FROM makapix_bdr.users();
CREATE VIEW makapix_bdr.reactions AS SELECT * FROM makapix_bdr.reactions();

-- An inlined body runs with the privileges of the role, which therefore needs those on the tables too.
REVOKE EXECUTE ON FUNCTION makapix_bdr.posts(), makapix_bdr.comments(), makapix_bdr.users(),
                           makapix_bdr.reactions() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION makapix_bdr.posts(), makapix_bdr.comments(), makapix_bdr.users(),
                          makapix_bdr.reactions() TO makapix_bdr;

GRANT SELECT (id, handle, email, public_sqid)
   ON makapix_bdr.users TO makapix_bdr;

GRANT SELECT (id, public_sqid, title, description, hashtags, art_url, file_format,
              width, height, frame_count, created_at)
   ON makapix_bdr.posts TO makapix_bdr;

GRANT SELECT (id, post_id, author_id, body, hidden_by_mod, deleted_by_owner, created_at)
   ON makapix_bdr.comments TO makapix_bdr;

GRANT SELECT (post_id, emoji)
   ON makapix_bdr.reactions TO makapix_bdr;

GRANT SELECT (member_no, name, mail, profile)
   ON public.members TO makapix_bdr;

GRANT SELECT (id, number, slug, caption, story, tags, file_url, pixels_x, pixels_y, taken_at)
   ON public.photos TO makapix_bdr;

GRANT SELECT (id, photo_id, member_no, remark, visibility, written_at)
   ON public.remarks TO makapix_bdr;

GRANT SELECT (photo_id)
   ON public.likes TO makapix_bdr;

COMMIT;
