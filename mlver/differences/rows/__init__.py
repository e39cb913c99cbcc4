"""Tables and predictions: which rows came, went and changed between two states of a file.

bytes → rows → pairs of rows with the same key → what differs in them → one `TableChange`

`mlver.differences.rows.compare` reads as this line; `readers` knows the formats.
"""
