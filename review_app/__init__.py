"""The Streamlit review app: pages, served routes and the player component. It imports no Dagster."""
