"""What lets Heaters into web sites: sign-ins, headers and proxies, encrypted."""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table site_access (
            site text not null,
            part text not null,
            sealed bytea not null,
            told text not null,
            ends_at timestamp with time zone,
            changed_by text not null,
            changed_at timestamp with time zone not null default now(),
            constraint site_access_pkey primary key (site, part),
            constraint site_access_part_check check (part in ('cookies', 'headers', 'proxy')),
            constraint site_access_site_check check (site = lower(site) and site <> '')
        );
        comment on table site_access is 'what lets into web sites: sign-ins, headers, proxies; the secrets are encrypted';
        comment on column site_access.site is 'host name; what is stored counts for its subdomains too';
        comment on column site_access.sealed is 'encrypted under a key that is derived from the secret key';
        comment on column site_access.told is 'what may be shown of it';
        comment on column site_access.ends_at is 'when the last cookie ends';
        comment on column site_access.changed_by is 'name of a reviewer, or of a user of the command line';
    """)


def downgrade() -> None:
    op.execute("drop table site_access")
