"""What a schema offers to the programs that use it, and which changes of it break the program of before."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

_COLUMNS = """
    select table_name || '.' || column_name, data_type || ' ' || udt_name, is_nullable = 'NO',
        column_default is not null or is_identity = 'YES' or is_generated = 'ALWAYS'
    from information_schema.columns where table_schema = 'public' and table_name <> 'alembic_version'
"""
_RULES = """
    select conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) from pg_constraint
    where connamespace = 'public'::regnamespace and conrelid <> 0 and contype in ('c', 'u', 'x', 'f', 'p')
    union
    select indrelid::regclass || '.' || indexrelid::regclass, pg_get_indexdef(indexrelid) from pg_index
    join pg_class on pg_class.oid = indrelid where relnamespace = 'public'::regnamespace and indisunique
    and not exists (select from pg_constraint where conindid = indexrelid and conrelid = indrelid)
"""
_FUNCTIONS = """
    select proname || '(' || pg_get_function_identity_arguments(oid) || ')', pg_get_function_result(oid)
    from pg_proc where pronamespace = 'public'::regnamespace and proname like 'heaters%'
"""


@dataclass(frozen=True, slots=True)
class Catalog:
    """columns: `table.column` -> type, whether NULL is refused, whether a row may leave it out. rules: `table.name` -> what must hold.

    functions: name with arguments -> result.
    """

    columns: dict[str, tuple[str, bool, bool]]
    rules: dict[str, str]
    functions: dict[str, str]

    @classmethod
    def read(cls, connection: Connection) -> Catalog:
        columns = {name: (kind, required, filled) for name, kind, required, filled in connection.execute(text(_COLUMNS))}
        rules = {str(name): str(rule) for name, rule in connection.execute(text(_RULES))}
        functions = {str(name): str(result) for name, result in connection.execute(text(_FUNCTIONS))}
        return cls(columns, rules, functions)

    @property
    def tables(self) -> set[str]:
        return {name.partition(".")[0] for name in self.columns}


def what_breaks(before: Catalog, after: Catalog) -> set[str]:
    """The changes with which a program that was written for `before` may fail on `after`, each as one word and a name.

    What is only added breaks nothing: tables, columns that a row may leave out, functions, indexes. A rule of a table that was there is
    broken when it is new or says something else, because the program may write what it now forbids; whether it only allows more, a person
    must say.
    """
    gone = {
        f"gone {name}" for was, now in ((before.columns, after.columns), (before.functions, after.functions)) for name in was.keys() - now
    }
    changed = {
        f"changed {name}"
        for name in before.columns.keys() & after.columns.keys()
        if before.columns[name][0] != after.columns[name][0] or (after.columns[name][1] and not before.columns[name][1])
    }
    changed |= {f"changed {name}" for name in before.functions.keys() & after.functions if before.functions[name] != after.functions[name]}
    required = {
        f"required {name}"
        for name, (_, is_required, is_filled) in after.columns.items()
        if name not in before.columns and name.partition(".")[0] in before.tables and is_required and not is_filled
    }
    rules = {
        f"rule {name}" for name, rule in after.rules.items() if name.partition(".")[0] in before.tables and before.rules.get(name) != rule
    }
    return gone | changed | required | rules
