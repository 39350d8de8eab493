"""Interoperability: postoffice and real NestJS, each as service and as client of the other. `make interop`."""
