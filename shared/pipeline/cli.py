def main(b): return 0
