"""The pages: a consumer's, an operator's, and the JSON API below both."""
