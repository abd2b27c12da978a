"""The settings of an embedded Postgres, appended to those that initdb writes."""

SETTINGS = """\
# Written by Heaters at every start. Settings of your own: ALTER SYSTEM SET ... (kept in postgresql.auto.conf, read after this).
listen_addresses = ''
unix_socket_directories = '{socket_folder}'
unix_socket_permissions = 0700
max_connections = 200
shared_buffers = 128MB
work_mem = 8MB
maintenance_work_mem = 64MB
# One machine, no replica: less to write ahead.
wal_level = minimal
max_wal_senders = 0
max_wal_size = 512MB
# The cores belong to ffmpeg. Without parallel queries nothing needs /dev/shm, which is 64 MB in a container
# and is emptied by systemd when a user logs out.
max_parallel_workers_per_gather = 0
max_parallel_maintenance_workers = 0
dynamic_shared_memory_type = mmap
io_method = sync
jit = off
random_page_cost = 1.1
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
lc_messages = 'C'
{durability}
"""
DURABLE = "# Reviewers' decisions survive a power cut.\nfsync = on\nfull_page_writes = on\nsynchronous_commit = on"
VOLATILE = "fsync = off\nfull_page_writes = off\nsynchronous_commit = off"
