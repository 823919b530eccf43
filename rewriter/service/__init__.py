"""The service behind the API: targets with their secrets, orders, the performance of jobs, the currency of evidence."""
