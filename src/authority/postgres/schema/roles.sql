-- Who needs what. Run as the schema's owner, after lockgate db migrate; roles need CREATEROLE. Run again, it changes nothing.

do $$
begin
    if to_regrole('lockgate_reader') is null then create role lockgate_reader nologin; end if;
    if to_regrole('lockgate_editor') is null then create role lockgate_editor nologin; end if;
end
$$;

-- lockgate serve, check and explain, lockgate members and db export: nothing but to read.
grant usage on schema lockgate to lockgate_reader;
grant select on all tables in schema lockgate to lockgate_reader;
alter default privileges in schema lockgate grant select on tables to lockgate_reader;

-- lockgate grant, revoke and db import, and the annotation platform: all the rows, but not the tables.
grant usage on schema lockgate to lockgate_editor;
grant select on all tables in schema lockgate to lockgate_editor;
grant insert, update, delete on lockgate.project, lockgate.project_storage, lockgate.member, lockgate.project_group,
    lockgate.task, lockgate.task_media, lockgate.task_assignee to lockgate_editor;

-- Whom Lockgate connects as; the password is best set by \password lockgate, which sends no plain text.
--   create role lockgate login in role lockgate_reader;
--   create role lockgate_admin login in role lockgate_editor;
