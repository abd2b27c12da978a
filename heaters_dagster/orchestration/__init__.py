"""What runs when: jobs, sensors, schedules, checks, and what they look at."""
