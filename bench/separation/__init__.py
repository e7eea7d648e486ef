"""Speed, start-up time and memory of the separator, measured on whole stages as pods run them."""
