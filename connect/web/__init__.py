"""What every REST door shares: errors, streaming, query parameters, the API description."""
