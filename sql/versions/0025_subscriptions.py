"""Subscriptions: lists of the web that are looked at again by schedule, and which of their members were dealt with."""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table subscriptions (
            id bigint generated always as identity,
            address text not null,
            title text not null,
            limits jsonb not null default '{}',
            every_seconds integer not null,
            chapters_as_cuts boolean not null default false,
            rights text,
            subscribed_by text,
            created_at timestamp with time zone not null default now(),
            looked_at timestamp with time zone,
            next_look_at timestamp with time zone not null default now(),
            told text,
            error text,
            failed_looks integer not null default 0,
            taken_count integer not null default 0,
            constraint subscriptions_pkey primary key (id),
            constraint subscriptions_address_key unique (address),
            constraint subscriptions_every_check check (every_seconds between 300 and 31622400),
            constraint subscriptions_limits_check check (jsonb_typeof(limits) = 'object'),
            constraint subscriptions_address_check check (octet_length(address) <= 2000)
        );
        create index subscriptions_next_look_at_idx on subscriptions (next_look_at);
        create table subscription_members (
            subscription_id bigint not null,
            member_sha256 text not null,
            seen_at timestamp with time zone not null default now(),
            constraint subscription_members_pkey primary key (subscription_id, member_sha256),
            constraint subscription_members_subscription_id_fkey foreign key (subscription_id) references subscriptions (id) on delete cascade
        );
        comment on table subscriptions is 'lists of the web that are looked at again by schedule';
        comment on table subscription_members is
            'members that a subscription has dealt with: one that was deleted since, or that failed, is not taken again';
        comment on column subscriptions.address is 'web address of the list';
        comment on column subscriptions.title is 'of the list, as the site calls it';
        comment on column subscriptions.limits is 'which of its videos are taken';
        comment on column subscriptions.every_seconds is 'from one look to the next';
        comment on column subscriptions.rights is 'what may be done with its videos, in the words of the subscriber';
        comment on column subscriptions.subscribed_by is 'who subscribed';
        comment on column subscriptions.looked_at is 'when the last look ended; null: there was none';
        comment on column subscriptions.told is 'what the last look found, in words';
        comment on column subscriptions.error is 'why the last look failed, or what it could not read; null: nothing was wrong';
        comment on column subscriptions.failed_looks is 'failed looks since the last one that succeeded';
        comment on column subscriptions.taken_count is 'source videos that were submitted because of it';
        comment on column subscription_members.member_sha256 is 'hex, of what the member is known by';
    """)


def downgrade() -> None:
    op.execute("drop table subscription_members")
    op.execute("drop table subscriptions")
