package pyenv

const installPython = "install it (Debian and Ubuntu: sudo apt install python3 python3-venv; Fedora: sudo dnf install python3.13)"
