"""Storages that lie elsewhere: buckets, other machines, web servers. Behind the same protocol as the local one."""
