-- Who may see what: all that projects.toml can say, in tables. Every id is text, as it stands in a route.

create table lockgate.project (
    id    text primary key check (id <> ''),
    -- Left out: the rule of access.media.
    media text check (media in ('task', 'storage'))
);
comment on table lockgate.project is 'A project, and which media its members may see.';

create table lockgate.project_storage (
    project  text not null references lockgate.project on update cascade on delete cascade,
    position integer not null default 0,
    storage  text not null check (storage <> ''),
    primary key (project, storage)
);
comment on table lockgate.project_storage is
    'The storages that a project''s media may come from, by the id of their [[storage]]; of those that hold a URI equally well the first position counts.';

create table lockgate.member (
    project text not null references lockgate.project on update cascade on delete cascade,
    subject text not null,
    primary key (project, subject)
);
create index member_subject on lockgate.member (subject);
comment on table lockgate.member is 'Annotators of a project, by their token''s subject.';

create table lockgate.project_group (
    project text not null references lockgate.project on update cascade on delete cascade,
    name    text not null,
    primary key (project, name)
);
create index project_group_name on lockgate.project_group (name);
comment on table lockgate.project_group is 'Groups of a project, by their name in the token''s groups claim.';

create table lockgate.task (
    id      text primary key check (id <> ''),
    project text not null references lockgate.project on update cascade on delete cascade
);
create index task_project on lockgate.task (project);
comment on table lockgate.task is 'A task; its id is unique over all projects.';

create table lockgate.task_media (
    task     text not null references lockgate.task on update cascade on delete cascade,
    position integer not null default 0,
    uri      text not null,
    primary key (task, position)
);
-- A URI may be longer than an entry of a b-tree.
create index task_media_uri on lockgate.task_media using hash (uri);
comment on table lockgate.task_media is
    'The media that a task''s data names, as lockgate db import spells them: s3://bucket/key, gs://bucket/key, azure-blob://container/blob, dbx://Volumes/…, redis://…/key, /data/local-files/?d=….';

create table lockgate.task_assignee (
    task    text not null references lockgate.task on update cascade on delete cascade,
    subject text not null,
    primary key (task, subject)
);
comment on table lockgate.task_assignee is 'Who alone may see a task; a task without any is for every member.';
