"""The actions of operators, for every face. Nothing here parses, prints or asks.

Functions take settings, or a queue, with a client of Redis or an engine of PostgreSQL; they return values and raise
`StreamfeaError`. What takes long is done in steps (`streamfea.admin.job`), between which a face shows how far it is.
"""
