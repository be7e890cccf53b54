"""What `data_setup` and `helpers` stand on: arguments · text · progress · files · folders · pictures · html."""
