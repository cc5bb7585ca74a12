"""Webhooks: programs are told what becomes of their jobs, by messages that are signed (Standard Webhooks)."""
