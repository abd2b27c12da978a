"""The pages. Not called `pages`: Streamlit would take such a folder for a navigation of its own."""
