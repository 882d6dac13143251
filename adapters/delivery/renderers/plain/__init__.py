"""What has no markup of its own, as lines of plain characters: tables, formulas, lists."""
