"""Alerts, and the messages about them that are to be sent: both written before anything is sent, so that nothing is lost when killed."""

from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table alerts (
            id bigint generated always as identity,
            cause text not null,
            what text not null,
            words text not null,
            begun_at timestamptz not null default now(),
            over_at timestamptz,
            constraint alerts_pkey primary key (id)
        );
        create unique index alerts_open_idx on alerts (cause, what) where over_at is null;
        create index alerts_over_idx on alerts (over_at) where over_at is not null;
        comment on table alerts is 'something that was or is wrong; one row from its begin to its end';
        comment on column alerts.cause is 'kind of the cause';
        comment on column alerts.what is 'tells several of one cause apart';
        comment on column alerts.words is 'what was wrong when it began, for people';
        comment on column alerts.over_at is 'null: it goes on';

        create table alert_messages (
            id bigint generated always as identity,
            channel text not null,
            subject text not null,
            body text not null,
            changes jsonb not null,
            created_at timestamptz not null default now(),
            sent_at timestamptz,
            given_up_at timestamptz,
            tries integer not null default 0,
            next_try_at timestamptz not null default now(),
            error text,
            constraint alert_messages_pkey primary key (id),
            constraint alert_messages_channel_check check (channel in ('webhook', 'slack', 'mail')),
            constraint alert_messages_end_check check (sent_at is null or given_up_at is null)
        );
        create index alert_messages_waiting_idx on alert_messages (id) where sent_at is null and given_up_at is null;
        comment on table alert_messages is 'a message about alerts by one channel; sent at least once';
        comment on column alert_messages.changes is 'the alerts that it is about: cause, what, state, words, since';
        comment on column alert_messages.error is 'why the last try failed, without the address';
    """)


def downgrade() -> None:
    op.execute("drop table alert_messages; drop table alerts")
