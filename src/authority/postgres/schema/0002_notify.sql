-- Every change says so on the channel "lockgate", when it is committed: the project's id, or nothing, which stands for
-- all of them. Lockgate then forgets what it remembered of that project.

-- For triggers on tables of one's own as well. Whoever writes a row brings a search_path, which must not say what runs
-- here. PostgreSQL says the same thing once a transaction.
create function lockgate.changed(projects text[]) returns void language plpgsql
    set search_path = pg_catalog, pg_temp as $$
begin
    -- A bulk change is said once and not a thousand times; a payload ends at 8000 bytes.
    if cardinality(projects) > 50 or exists (select from unnest(projects) p where octet_length(p) > 1000) then
        perform pg_notify('lockgate', '');
    else
        perform pg_notify('lockgate', p) from unnest(projects) p;
    end if;
end
$$;

-- Its argument says how a row leads to its project: by its column "id" or "project", or by the project of its "task".
-- What a deleted task took with it needs no word: the task's own deletion is said.
create function lockgate.tell() returns trigger language plpgsql
    set search_path = pg_catalog, pg_temp as $$
declare
    path constant text := tg_argv[0];
    rows constant text := case tg_op
        when 'INSERT' then 'table added'
        when 'DELETE' then 'table removed'
        else 'table added union all table removed'
    end;
    projects text[];
begin
    if tg_op = 'TRUNCATE' then
        perform pg_notify('lockgate', '');
    else
        execute case path
            when 'task' then format(
                'select array(select distinct t.project from (%s) r join lockgate.task t on t.id = r.task limit 51)', rows)
            else format('select array(select distinct r.%I from (%s) r limit 51)', path, rows)
        end into projects;
        perform lockgate.changed(projects);
    end if;
    return null;
end
$$;

do $$
declare
    name text;
    path text;
begin
    for name, path in values
        ('project', 'id'), ('project_storage', 'project'), ('member', 'project'), ('project_group', 'project'),
        ('task', 'project'), ('task_media', 'task'), ('task_assignee', 'task')
    loop
        execute format('create trigger tell_added after insert on lockgate.%I referencing new table as added
            for each statement execute function lockgate.tell(%L)', name, path);
        execute format('create trigger tell_removed after delete on lockgate.%I referencing old table as removed
            for each statement execute function lockgate.tell(%L)', name, path);
        execute format('create trigger tell_changed after update on lockgate.%I
            referencing old table as removed new table as added
            for each statement execute function lockgate.tell(%L)', name, path);
        execute format('create trigger tell_emptied after truncate on lockgate.%I
            for each statement execute function lockgate.tell(%L)', name, path);
    end loop;
end
$$;
