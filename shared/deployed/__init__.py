"""What is deployed in Azure, read: never changed from here."""
