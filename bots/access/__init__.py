"""Who may do what: the operator's lists, the rates, the quota and the rights, in one gate."""
