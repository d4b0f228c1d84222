"""The methods that followed Zephyr, as rows of a table: what each trains (`comparisons`, `rewards`,
`sampling_again`), on what one replication shares (`replication`), with which rate (`catalogue`),
and what is claimed of it (`claims`). `measurements` trains and examines them.
"""
