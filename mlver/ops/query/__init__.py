"""`query`: questions in SQL about what the logs say, over views whose columns are a promise; and their export.

`views` has the views, `query` answers one question, `parquet` writes all of them to files.
"""
