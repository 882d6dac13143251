"""What people see and do about their own data: statistics, export, erasing, links between platforms."""
