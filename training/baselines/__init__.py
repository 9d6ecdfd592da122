"""Other generators, trained and judged beside ours: same volumes, same grid, same compute."""
