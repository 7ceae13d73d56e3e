"""What is learned: arrays, how they score a row, and the file that keeps them."""
