"""Speed, start-up and memory of the separator, measured on whole stages as their pods run them."""
