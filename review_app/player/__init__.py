"""The player: ES modules in `static/` that know no Streamlit, and a thin component that mounts them. README.md has the HTTP contract."""
