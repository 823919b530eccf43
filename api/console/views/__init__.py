"""What pages show, as plain records: made from stored reports and jobs, without a template and without a request."""
